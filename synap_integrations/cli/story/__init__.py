"""The story that `synap demo` tells: two people talk with an agent for months, then somebody asks a question."""
