//! Files and environment together, on a real folder.

use super::*;

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_environment_variable_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidemark.toml");
    std::fs::write(&file, "[batch]\nrecords_max = 5\n[sinks.graph]\npath = \"g.db\"\n").unwrap();
    let set = variables(&[("TIDEMARK__BATCH__RECORDS_MAX", "7"), ("OTHER__BATCH__RECORDS_MAX", "8")]);
    let configuration = load_from(Some(&file), Path::new("data"), set).unwrap();
    assert_eq!(configuration.batch_records_max, 7);
    let file = |role| configuration.sinks[&role].to_string();
    let expected = folder.path().join("g.db").display().to_string();
    assert_eq!(file(tidemark_sink_core::Role::Graph), expected, "relative to the file");
    assert_eq!(file(tidemark_sink_core::Role::Vector), "data/vector.db", "the default is under --data");
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "s3cret\n").unwrap();
    let file = folder.path().join("tidemark.toml");
    let text = "[embedder]\nkind = \"openai\"\nurl = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\napi_key_file = \"key\"\n";
    std::fs::write(&file, text).unwrap();
    let configuration = load_from(Some(&file), Path::new("data"), []).unwrap();
    let valid::EmbedderSettings::OpenAi { api_key: Some(key), .. } = &configuration.embedder else {
        panic!("the key was not read");
    };
    assert_eq!(key.expose(), "s3cret");
    assert!(!format!("{configuration:?}").contains("s3cret"));
    let set = variables(&[("TIDEMARK__EMBEDDER__API_KEY", "other")]);
    let over = load_from(Some(&file), Path::new("data"), set).unwrap();
    assert!(matches!(over.embedder, valid::EmbedderSettings::OpenAi { api_key: Some(key), .. } if key.expose() == "other"));
}

#[test]
fn a_secret_file_that_is_missing_or_doubled_is_a_problem() {
    let gone = variables(&[("TIDEMARK__EMBEDDER__API_KEY_FILE", "/nowhere/key")]);
    let problems = load_from(None, Path::new("data"), gone).unwrap_err().to_string();
    assert!(
        problems.contains("TIDEMARK__EMBEDDER__API_KEY_FILE: embedder.api_key_file: /nowhere/key: cannot be read"),
        "{problems}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidemark.toml");
    std::fs::write(&file, "[embedder]\napi_key = \"a\"\napi_key_file = \"b\"\n").unwrap();
    let problems = load_from(Some(&file), Path::new("data"), []).unwrap_err().to_string();
    assert!(problems.contains("`embedder.api_key` is set as well"), "{problems}");
}

#[test]
fn a_named_file_must_be_there() {
    let problems = load_from(Some(Path::new("/nowhere.toml")), Path::new("data"), []).unwrap_err().to_string();
    assert!(problems.contains("/nowhere.toml: cannot be read"), "{problems}");
}
