"""What `synap doctor` looks at. Each check gives findings; one that is not fine names the command that fixes it."""
