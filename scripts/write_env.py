"""Write `.env`, as `.env.example` with generated secrets. One that exists is left alone."""

import os
import re
import secrets
import sys
from pathlib import Path

EMPTY_SECRET = re.compile(r"^(SECRET_KEY|JWT_SECRET_KEY)=$", re.MULTILINE)


def main() -> None:
    example = Path(".env.example").read_text(encoding="utf-8")
    text = EMPTY_SECRET.sub(lambda line: line[0] + secrets.token_urlsafe(48), example)
    try:
        file = os.open(".env", os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=0o600)
    except FileExistsError:
        return
    except OSError as error:
        sys.exit(f"make: .env cannot be written: {error.strerror}.")
    with os.fdopen(file, "w", encoding="utf-8") as env:
        env.write(text)
    print("Wrote .env with new secrets.")


if __name__ == "__main__":
    main()
