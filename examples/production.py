"""An application as it is run in production: CORS, compression, request logging, TLS, timeouts.

The certificate and its key are PEM files; to try it without privileges and with a pair of your own:

    python ci/make-certificates.py build/tls
    TLS_CERT=build/tls/cert.pem TLS_KEY=build/tls/key.pem python examples/production.py --port 8443
    curl --cacert build/tls/ca.pem https://localhost:8443/
"""

import os

from cello import App, ClusterConfig, Http2Config, TimeoutConfig, TlsConfig

CERT_PATH = os.environ.get("TLS_CERT", "/etc/ssl/cert.pem")
KEY_PATH = os.environ.get("TLS_KEY", "/etc/ssl/key.pem")

app = App()

# Middleware
app.enable_cors(origins=["https://example.com"])
app.enable_compression(min_size=1024)
app.enable_logging()


# Routes
@app.get("/")
def index(request):
    return {"status": "ok"}


# Run with full production configuration
app.run(
    host="0.0.0.0",  # noqa: S104 - on all interfaces, as meant
    port=443,
    env="production",
    workers=8,
    tls=TlsConfig(cert_path=CERT_PATH, key_path=KEY_PATH),
    http2=Http2Config(enabled=True),  # not built yet: a warning at the start, and HTTP/1.1
    cluster=ClusterConfig(processes=4),  # likewise: one process serves
    timeout=TimeoutConfig(request_timeout=60),
)
