//! What of TLS and SASL the client library was built with, so that a configuration that asks for more is refused before anything
//! starts. The library itself would say that OpenSSL was not there when it was built.

use std::collections::BTreeMap;

/// TLS, and what the library makes with OpenSSL's hashes: SCRAM and OAUTHBEARER.
const HAS_TLS: bool = cfg!(feature = "kafka-tls");

/// What these properties ask for in vain.
pub(super) fn problems(properties: &BTreeMap<String, String>) -> Vec<String> {
    judge(properties, HAS_TLS)
}

fn judge(properties: &BTreeMap<String, String>, has_tls: bool) -> Vec<String> {
    let asked = |name: &str| properties.get(name).map(|value| value.to_uppercase()).unwrap_or_default();
    let protocol = asked("security.protocol");
    let mut problems = Vec::new();
    let mut need_tls = Vec::new();
    if protocol.ends_with("SSL") {
        need_tls.push(format!("`security.protocol` {protocol}"));
    }
    if protocol.starts_with("SASL_") {
        let mechanism = [asked("sasl.mechanism"), asked("sasl.mechanisms")].concat();
        match mechanism.as_str() {
            "PLAIN" => {}
            "" | "GSSAPI" => problems.push(
                "`sasl.mechanism` is GSSAPI unless something else is set, and no build of this program knows Kerberos; set it to PLAIN or \
                 SCRAM-SHA-512"
                    .to_owned(),
            ),
            other => need_tls.push(format!("`sasl.mechanism` {other}")),
        }
    }
    need_tls.extend(properties.keys().filter(|name| name.starts_with("ssl.")).map(|name| format!("`{name}`")));
    if !has_tls && !need_tls.is_empty() {
        problems.push(format!(
            "{} needs TLS for Kafka, which this build is without; build it with the feature `kafka-tls` \
             (`cargo build --release --features kafka-tls`)",
            need_tls.join(", ")
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::judge;

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_the_build_cannot_do_is_named_with_the_feature() {
        let tls = properties(&[("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem")]);
        let scram = properties(&[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanisms", "SCRAM-SHA-512")]);
        let both = properties(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN")]);
        for (asked, named) in
            [(&tls, "`security.protocol` SSL, `ssl.ca.location` needs"), (&scram, "SCRAM-SHA-512"), (&both, "SASL_SSL")]
        {
            let problems = judge(asked, false);
            assert!(problems.len() == 1 && problems[0].contains(named) && problems[0].contains("kafka-tls"), "{problems:?}");
            assert!(judge(asked, true).is_empty());
        }
    }

    #[test]
    fn plain_passwords_need_no_tls_and_kerberos_is_in_no_build() {
        let plain = properties(&[("security.protocol", "sasl_plaintext"), ("sasl.mechanism", "PLAIN"), ("sasl.username", "me")]);
        let kerberos = properties(&[("security.protocol", "SASL_PLAINTEXT")]);
        let harmless = properties(&[("client.rack", "a")]);
        for has_tls in [false, true] {
            assert!(judge(&plain, has_tls).is_empty() && judge(&harmless, has_tls).is_empty());
            assert!(judge(&kerberos, has_tls)[0].contains("SCRAM-SHA-512"));
        }
    }
}
