"""The three processes of one instrument: how they are started, told their task, and talk over loopback."""
