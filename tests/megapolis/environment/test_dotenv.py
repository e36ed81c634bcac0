"""The process's variables override those of `.env`. Errors never show what is in the file."""

import os
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from megapolis.environment import dotenv


class TestGather:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / ".env"

    def test_prefers_the_process_to_the_file(self, file: Path) -> None:
        file.write_text("SHARED=file\nONLY=file\n")
        gathered = dotenv.gather({"SHARED": "process"}, file)
        assert gathered["SHARED"] == "process"
        assert gathered["ONLY"] == "file"

    def test_leaves_the_process_environment_alone(self, file: Path) -> None:
        file.write_text("MEGAPOLIS_UNHEARD_OF=file\n")
        dotenv.gather(os.environ, file)
        assert "MEGAPOLIS_UNHEARD_OF" not in os.environ

    def test_reads_the_file_in_production_too(self, file: Path) -> None:
        file.write_text("ENVIRONMENT=development\nONLY=file\n")
        assert dotenv.gather({}, file)["ENVIRONMENT"] == "development"
        gathered = dotenv.gather({"ENVIRONMENT": "production"}, file)
        assert gathered == {"ENVIRONMENT": "production", "ONLY": "file"}

    def test_ignores_the_file_in_tests(self, file: Path) -> None:
        file.write_text("SECRET_KEY=file\n")
        assert "SECRET_KEY" not in dotenv.gather({"ENVIRONMENT": "test"}, file)

    def test_needs_no_file(self, file: Path) -> None:
        assert dotenv.gather({"A": "1"}, file) == {"A": "1"}

    def test_understands_comments_quotes_export_and_foreign_line_ends(self, file: Path) -> None:
        file.write_bytes(b"\xef\xbb\xbfA=1\r\n\r\n# B=2\r\n  \r\nexport C='3 # 4'\r\n")
        assert dotenv.gather({}, file) == {"A": "1", "C": "3 # 4"}

    def test_names_the_lines_that_it_does_not_understand(
        self, file: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        file.write_text("A=1\nSECRET_KEY = hunter2\n\nhunter2\n")
        with pytest.raises(ImproperlyConfigured, match=r"not NAME=value in line 2, 4\.") as error:
            dotenv.gather({}, file)
        assert "hunter2" not in f"{error.value}{capsys.readouterr()}"

    def test_rejects_a_file_that_is_not_text(self, file: Path) -> None:
        file.write_bytes(b"SECRET_KEY=\xff\xfe")
        with pytest.raises(ImproperlyConfigured, match="cannot be read as UTF-8 text"):
            dotenv.gather({}, file)
