"""The operator's dashboard at ``/msm-admin``: not built yet."""
