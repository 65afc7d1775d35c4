//! The file-drop connector.
