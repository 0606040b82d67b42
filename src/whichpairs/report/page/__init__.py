"""What a page is made of: parts, numbers in words, the template."""
