"""The notifier: a program that sends one notice and is gone, and its channels (docs/notices.md)."""
