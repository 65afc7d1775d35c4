//! `import`.
pub(crate) async fn run(
    c: &crate::arguments::Common,
    a: &crate::arguments::Import,
    v: &crate::view::View,
) -> anyhow::Result<crate::exit::Exit> {
    let _ = (c, a, v);
    anyhow::bail!("x")
}
