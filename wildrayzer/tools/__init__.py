"""What stands beside the method: planning, cluster checks, rendering, inspecting and tuning."""
