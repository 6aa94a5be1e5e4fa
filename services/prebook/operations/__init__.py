"""Operations: keeps dead letters for operators, and replays them."""
