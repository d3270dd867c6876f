"""What an audit leaves beside audit.json: tables, a section of a card, notes in records."""
