//! Text templates: a record to the text that is embedded.
