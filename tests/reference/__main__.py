"""`make reference`: what the code says of itself, into the pages of the reference."""

from __future__ import annotations

from pathlib import Path

from made_pages import contents

if __name__ == "__main__":
    for path, text in contents().items():
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            print(path.relative_to(Path(__file__).parents[2]))
