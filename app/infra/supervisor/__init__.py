"""What `smm-admin up` runs: the Procfile's processes, watched, restarted, and stopped so that no work is lost."""
