"""S3's messages: requests as they are read, responses as they are sent, XML."""
