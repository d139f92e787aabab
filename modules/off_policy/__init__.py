"""What a new policy would have been worth, estimated from what an old one did."""
