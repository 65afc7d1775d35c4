//! `search`.
pub(crate) async fn run(c: &crate::arguments::Common, a: &crate::arguments::Search) -> anyhow::Result<crate::exit::Exit> {
    let _ = (c, a);
    anyhow::bail!("x")
}
