"""The app `triggers`: what starts runs from outside."""
