//! Many records in files, for the kill tests and the bench: orderly, valid, cheap to make.

use std::fmt::Write;
use std::path::Path;

use crate::random::Random;

/// How many of each.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Customers.
    pub customers: u64,
    /// Orders.
    pub orders: u64,
}

/// Records of one file: small enough that a file is no special thing, large enough that files do not count.
const RECORDS_PER_FILE: u64 = 5_000;

/// One file to be dropped.
#[derive(Debug, Clone)]
pub struct BulkFile {
    /// Path below the import root.
    pub path: String,
    /// Its text.
    pub text: String,
}

const FAMILY: [&str; 8] = ["张", "王", "李", "赵", "陈", "欧阳", "刘", "黄"];
const GIVEN: [&str; 8] = ["小红", "伟", "芳", "秀英", "娜", "敏", "静", "丽"];
const LEVELS: [&str; 5] = ["普通会员", "银卡", "GOLD", "铂金会员", "DIAMOND"];
const SOURCES: [&str; 4] = ["朋友推荐", "ONLINE", "自然到店", "广告"];
const NOTES: [&str; 4] = ["皮肤敏感，注意产品选择", "VIP客户，注意服务质量", "咨询过玻尿酸填充", "希望周末预约"];

/// Customers in dated envelopes.
pub fn customers(size: Size) -> Vec<BulkFile> {
    let record = |number: u64, out: &mut String| {
        let mut random = Random::new(number);
        write!(
            out,
            r#"{{"customer_code":"BJ-HA-001-C{number:06}","person":{{"name":"{}{}","phone":"139{:08}","gender":"女","birthday":"19{:02}-{:02}-{:02}"}},"vip_level":"{}","source":"{}","consultant_id":{},"tags":["敏感肌","抗衰老"],"notes":"{}","first_visit_date":"2025-{:02}-{:02}"}}"#,
            random.pick(&FAMILY),
            random.pick(&GIVEN),
            number,
            random.between(60, 99),
            random.between(1, 12),
            random.between(1, 28),
            random.pick(&LEVELS),
            random.pick(&SOURCES),
            random.between(1, 50),
            random.pick(&NOTES),
            random.between(1, 12),
            random.between(1, 28),
        )
        .expect("a text takes every write");
    };
    files("customers", size.customers, record)
}

/// Orders in dated envelopes; `revision` of an order's number says how often its amounts were changed.
pub fn orders(size: Size, revision: impl Fn(u64) -> u64) -> Vec<BulkFile> {
    let record = |number: u64, out: &mut String| order(number, size.customers, revision(number), out);
    files("consumption_records", size.orders, record)
}

/// One order as text.
pub fn order(number: u64, customers: u64, revision: u64, out: &mut String) {
    let mut random = Random::new(number);
    let buyer = random.between(1, customers);
    let (month, day) = (random.between(1, 12), random.between(1, 28));
    let gross = random.between(10_000, 900_000) + revision * 100;
    let discount = gross / 10;
    let net = gross - discount;
    write!(
        out,
        r#"{{"order_number":"BJ-HA-001-ORD-2025{month:02}{day:02}-{number:07}","customer_code":"BJ-HA-001-C{buyer:06}","doctor_code":"DOC-{}","order_date":"2025-{month:02}-{day:02}","order_type":"PROJECT","project_code":"PRJ-{}","product_code":"PROD-{}","total_amount":{}.{:02},"discount_amount":{}.{:02},"actual_amount":{}.{:02},"payment_method":"微信支付","payment_status":"PAID","department":"皮肤科"}}"#,
        random.between(1, 40),
        random.between(1, 60),
        random.between(1, 60),
        gross / 100,
        gross % 100,
        discount / 100,
        discount % 100,
        net / 100,
        net % 100,
    )
    .expect("a text takes every write");
}

/// Each file has a date of its own, so that none takes another's name.
fn files(stem: &str, many: u64, record: impl Fn(u64, &mut String)) -> Vec<BulkFile> {
    let mut files = Vec::new();
    let mut next = 1;
    while next <= many {
        let end = (next + RECORDS_PER_FILE).min(many + 1);
        let day = files.len() as u64;
        let date = format!("2026-{:02}-{:02}", day / 28 + 1, day % 28 + 1);
        let mut text = format!(r#"{{"operation":"INSERT","timestamp":"{date}T10:30:00","institution_code":"BJ-HA-001","data":["#);
        for number in next..end {
            if number > next {
                text.push(',');
            }
            text.push('\n');
            record(number, &mut text);
        }
        text.push_str("]}\n");
        files.push(BulkFile { path: format!("incremental/pending/{date}/{stem}.json"), text });
        next = end;
    }
    files
}

/// Writes the files below an import root, renamed in, as if they had lain there for a while.
pub fn write(import: &Path, files: &[BulkFile]) -> std::io::Result<()> {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for file in files {
        let path = import.join(&file.path);
        std::fs::create_dir_all(path.parent().expect("a file stands in a folder"))?;
        let aside = path.with_extension("part");
        std::fs::write(&aside, &file.text)?;
        std::fs::File::options().write(true).open(&aside)?.set_modified(old)?;
        std::fs::rename(&aside, &path)?;
    }
    Ok(())
}
