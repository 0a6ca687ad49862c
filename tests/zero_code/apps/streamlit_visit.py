"""Visits the page as Streamlit's own tests do: its runner, in this process."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

if __name__ == "__main__":
    page = AppTest.from_file(str(Path(__file__).with_name("in_streamlit.py")), default_timeout=60).run()
    assert not page.exception
    assert page.markdown[0].value == "You said: hello from a page"
