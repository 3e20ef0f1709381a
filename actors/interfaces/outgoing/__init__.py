"""What Headwater tells others of itself: the forms of events, and their delivery."""
