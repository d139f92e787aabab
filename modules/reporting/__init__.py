"""The report of a run as typed data, tables and plotly figures; nothing here knows TFX or where artifacts lie."""
