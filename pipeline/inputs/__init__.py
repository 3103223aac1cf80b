"""What a nightly transcription can read: loose images, members of archives, listed URIs, boxes on pages.

Each becomes an `Item`, which owes a row of its own; how it is found again lies in the item alone.
"""
