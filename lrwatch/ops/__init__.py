"""What an on-call needs: rules and routes rendered from one catalogue, a local stack that runs them, silences."""
