"""One child process that owns torch and the GPU, and the torch-free client that talks to it."""
