"""What comes back to a sender's return address: late bounces, complaints, reports."""
