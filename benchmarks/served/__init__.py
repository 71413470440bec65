"""What the service is measured against: the usual app, and two servers as their documentation uses them."""
