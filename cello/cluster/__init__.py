"""Several processes that serve one application, and the supervisor that nothing takes down."""
