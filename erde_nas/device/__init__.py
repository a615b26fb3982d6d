"""All that travels to a device, with numpy and a runtime alone: the agent, the runtimes, a bundle's runner."""
