mod official;
pub(crate) mod proxy;
mod troubles;
