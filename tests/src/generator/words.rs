//! Both vocabularies, written down by hand: canonical code and one of the words that mean it.

use crate::random::Random;

/// (code, words).
pub type Words = &'static [(&'static str, &'static [&'static str])];

/// Genders.
pub const GENDER: Words =
    &[("FEMALE", &["FEMALE", "女", "F", "female"]), ("MALE", &["MALE", "男", "M"]), ("UNKNOWN", &["UNKNOWN", "未知"])];

/// Levels of membership.
pub const VIP_LEVEL: Words = &[
    ("NORMAL", &["NORMAL", "普通", "普通会员", "普通卡"]),
    ("SILVER", &["SILVER", "白银", "银卡", "银卡会员"]),
    ("GOLD", &["GOLD", "黄金", "金卡", "金卡会员", "gold"]),
    ("PLATINUM", &["PLATINUM", "铂金", "铂金卡", "铂金会员", "白金卡"]),
    ("DIAMOND", &["DIAMOND", "钻石", "钻石卡", "钻石会员"]),
    // Not in the list: kept as it stands, with a warning.
    ("至尊", &["至尊"]),
];

/// Where a customer came from.
pub const CUSTOMER_SOURCE: Words = &[
    ("REFERRAL", &["REFERRAL", "朋友推荐", "老客推荐", "转介绍"]),
    ("ONLINE", &["ONLINE", "线上", "网络", "网上"]),
    ("WALK_IN", &["WALK_IN", "自然到店", "到店"]),
    ("ADVERTISING", &["ADVERTISING", "广告", "广告投放"]),
    ("OTHER", &["OTHER", "其他"]),
];

/// Status of a customer.
pub const CUSTOMER_STATUS: Words = &[
    ("ACTIVE", &["ACTIVE", "active", "启用", "正常"]),
    ("INACTIVE", &["INACTIVE", "停用"]),
    ("DORMANT", &["DORMANT", "沉睡"]),
    ("CHURNED", &["CHURNED", "流失"]),
    ("SUSPENDED", &["SUSPENDED", "暂停"]),
];

/// Status of everything else.
pub const STATUS: Words = &[("ACTIVE", &["ACTIVE", "active", "启用", "营业"]), ("INACTIVE", &["INACTIVE", "停业", "停用"])];

/// Kinds of institutions.
pub const INSTITUTION_TYPE: Words = &[
    ("HOSPITAL", &["HOSPITAL", "医院"]),
    ("CLINIC", &["CLINIC", "诊所"]),
    ("BEAUTY_SALON", &["BEAUTY_SALON", "美容院", "生活美容"]),
];

/// Ways to pay.
pub const PAYMENT_METHOD: Words = &[
    ("WECHAT", &["WECHAT", "微信", "微信支付"]),
    ("ALIPAY", &["ALIPAY", "支付宝"]),
    ("CASH", &["CASH", "现金"]),
    ("CARD", &["CARD", "银行卡", "刷卡", "信用卡"]),
    ("INSTALLMENT", &["INSTALLMENT", "分期", "分期付款"]),
    ("INSURANCE", &["INSURANCE", "医保"]),
    ("OTHER", &["OTHER", "其他"]),
];

/// Status of a payment.
pub const PAYMENT_STATUS: Words = &[
    ("PENDING", &["PENDING", "待支付", "未支付"]),
    ("PAID", &["PAID", "已支付", "已付款"]),
    ("PARTIALLY_REFUNDED", &["PARTIALLY_REFUNDED", "部分退款"]),
    ("REFUNDED", &["REFUNDED", "已退款"]),
    ("CLOSED", &["CLOSED", "已关闭", "已取消"]),
];

/// Kinds of items and orders.
pub const ITEM_TYPE: Words = &[
    ("PROJECT", &["PROJECT", "project", "项目"]),
    ("PRODUCT", &["PRODUCT", "product", "产品", "商品"]),
    ("PACKAGE", &["PACKAGE", "套餐"]),
];

/// A code and a word for it.
pub fn draw(random: &mut Random, words: Words) -> (&'static str, &'static str) {
    let (code, all) = random.pick(words);
    (code, *random.pick::<&str>(all))
}

/// A word for this code.
pub fn word_for(random: &mut Random, words: Words, code: &str) -> &'static str {
    let (_, all) = words.iter().find(|(known, _)| *known == code).expect("a code of the list");
    random.pick::<&str>(all)
}

/// Family names.
pub const FAMILY: [&str; 8] = ["张", "王", "李", "欧阳", "赵", "𠮷", "陈", "O'Neil "];

/// Given names, awkward ones among them.
pub const GIVEN: [&str; 8] = ["小红", "伟", "芳", "秀英", "😀", "\"引号\"", "\\n", "丽\u{200b}"];

/// Notes, awkward ones among them.
pub const NOTES: [&str; 6] = [
    "VIP客户，注意服务质量",
    "'; DROP TABLE customer; --",
    "多行\n第二行\t制表",
    "皮肤敏感，注意产品选择",
    "emoji 👩‍⚕️ ok",
    "a|b\\c",
];
