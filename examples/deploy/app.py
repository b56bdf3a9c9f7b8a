"""The application that the files of this folder deploy: health checks, and processes to choose.

    python app.py --env production --host 0.0.0.0

Where it listens, and as whom it runs, is for the command line to say. PROCESSES in the environment says how
many processes serve.
"""

import os

from cello import App, ClusterConfig

app = App()
app.enable_health_checks()


@app.get("/")
def index(request):
    return {"message": "Hello", "client": request.client_ip}


if __name__ == "__main__":
    app.run(
        # The files beside this one wait 45 s before they kill: 5 of delay, 30 of grace, 10 in reserve.
        cluster=ClusterConfig(processes=int(os.environ.get("PROCESSES", "1")), graceful_timeout=30),
    )
