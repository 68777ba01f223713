"""The app `knowledge`: documents in, passages out."""
