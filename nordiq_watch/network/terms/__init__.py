"""What a model forecasts with beside its network: further members, their blend, and its calibration."""
