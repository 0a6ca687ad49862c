"""A page of Streamlit that talks once each time it is opened."""

import chat
import streamlit

streamlit.write(chat.ask("page", "hello from a page"))
