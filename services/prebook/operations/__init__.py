"""Operations: takes parked messages in, tells about them, and sends them again."""
