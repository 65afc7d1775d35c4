//! Whom a store trusts when it speaks TLS: an authority that the configuration names, or those that the system trusts.
//!
//! The provider is named here, so that it does not matter what the process has as its default. No client certificates. The one
//! vendor's type that adapters share is rustls's configuration: every client here takes it.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Trusts the certificates of the PEM file `authorities`, or those that the system trusts. The error names what to correct.
pub fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let read = read.map_err(|error| format!("{} is no PEM file of certificates: {error}", path.display()))?;
            for certificate in read {
                roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err("no certificate to trust was found; name the authority's PEM file".to_owned());
    }
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::client_config;

    #[test]
    fn a_file_without_certificates_is_named() {
        let missing = client_config(Some(Path::new("nowhere.pem"))).unwrap_err();
        assert!(missing.contains("nowhere.pem"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = client_config(Some(file.path())).unwrap_err();
        assert!(empty.contains("name the authority's PEM file"), "{empty}");
    }
}
