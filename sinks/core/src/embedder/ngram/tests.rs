use super::{DIMENSIONS, NgramEmbedder, embed};
use crate::embedder::Embedder;

const SURNAMES: [&str; 20] =
    ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何", "郭", "马", "欧阳"];
const GIVEN: [&str; 25] = [
    "小丽", "美玲", "雅婷", "思琪", "晓燕", "静怡", "梦瑶", "佳怡", "欣妍", "雨桐", "丽华", "秀英", "海燕", "婉清", "芷若",
    "紫萱", "诗涵", "慧敏", "玉兰", "春梅", "嘉欣", "可馨", "若曦", "宇航", "建国",
];
const TAGS: [&str; 12] =
    ["敏感肌", "抗衰老", "油性皮肤", "干性皮肤", "黄褐斑", "痘印", "毛孔粗大", "黑眼圈", "法令纹", "双下巴", "眼袋", "皮肤松弛"];
const NOTES: [&str; 16] = [
    "对利多卡因过敏，注射前需做皮试",
    "怕疼，希望使用表面麻醉",
    "瘢痕体质，慎做剥脱类激光",
    "正在备孕，暂停光电项目",
    "上次热玛吉效果满意，推荐了两位朋友",
    "偏好周末下午到店，不要电话打扰",
    "关注水光针和皮秒的组合方案",
    "曾在外院做过双眼皮，想修复",
    "预算有限，等待年终活动",
    "长期服用阿司匹林，易淤青",
    "想改善下颌线，咨询过线雕",
    "婚礼前三个月需要集中护理",
    "喜欢自然效果，拒绝夸张",
    "有高血压病史，术前量血压",
    "咨询过吸脂，对恢复期有顾虑",
    "玻尿酸填充后轻微肿胀，已回访",
];

/// 200 customers as the template of the built-in schema shows them.
fn records() -> Vec<String> {
    (0..200)
        .map(|number: usize| {
            let name = format!("{}{}", SURNAMES[number % 20], GIVEN[(number * 7 + number / 20) % 25]);
            let gender = if number.is_multiple_of(9) { "MALE" } else { "FEMALE" };
            let level = ["NORMAL", "SILVER", "GOLD", "PLATINUM", "DIAMOND"][number % 5];
            let source = ["REFERRAL", "ONLINE", "WALK_IN"][number % 3];
            let (one, other) = (TAGS[number % 12], TAGS[(number * 5 + 3) % 12]);
            let note = NOTES[(number * 3 + number / 16) % 16];
            format!(
                "客户：{name}，性别：{gender}\n会员等级：{level}，来源：{source}，状态：ACTIVE\n标签：{one}、{other}\n备注：{note}\n\
                 首次到店：2025-{:02}-{:02}，最近到店：2026-01-{:02}",
                number % 12 + 1,
                number % 28 + 1,
                number % 27 + 1
            )
        })
        .collect()
}

/// The records nearest to the query, best first.
fn nearest(records: &[String], query: &str, count: usize) -> Vec<String> {
    let query = embed(query);
    let mut scored: Vec<(f32, &String)> =
        records.iter().map(|text| (embed(text).iter().zip(&query).map(|(one, other)| one * other).sum(), text)).collect();
    scored.sort_by(|one, other| other.0.total_cmp(&one.0));
    scored.into_iter().take(count).map(|(_, text)| text.clone()).collect()
}

fn rank_of(records: &[String], query: &str, wanted: &str) -> usize {
    let found = nearest(records, query, records.len());
    found.iter().position(|text| text.contains(wanted)).unwrap() + 1
}

#[test]
fn every_name_finds_its_record() {
    let records = records();
    let mut first = 0;
    for record in &records {
        let name = record.trim_start_matches("客户：").split('，').next().unwrap();
        let rank = rank_of(&records, name, &format!("：{name}，"));
        assert!(rank <= 5, "{name} stands at {rank}");
        first += usize::from(rank == 1);
    }
    assert!(first >= 180, "{first} of 200 stand first");
}

#[test]
fn partial_phrases_find_a_record_that_holds_them() {
    let records = records();
    for (query, wanted) in [
        ("利多卡因过敏", "对利多卡因过敏"),
        ("瘢痕体质", "瘢痕体质"),
        ("热玛吉效果", "热玛吉效果满意"),
        ("双眼皮修复", "双眼皮，想修复"),
        ("年终活动", "年终活动"),
        ("水光针 皮秒", "水光针和皮秒"),
        ("阿司匹林", "阿司匹林"),
        ("婚礼前护理", "婚礼前三个月"),
        ("高血压", "高血压病史"),
        ("备孕", "正在备孕"),
        ("吸脂恢复期", "咨询过吸脂"),
        ("玻尿酸肿胀", "玻尿酸填充后轻微肿胀"),
    ] {
        let rank = rank_of(&records, query, wanted);
        assert!(rank <= 3, "{query}: the first record with it stands at {rank}");
    }
}

#[test]
fn misspelt_phrases_find_their_record() {
    let records = records();
    for (query, wanted) in [
        ("利多卡音过敏", "对利多卡因过敏"),
        ("疤痕体质慎做激光", "瘢痕体质"),
        ("热马吉效果满意", "热玛吉效果满意"),
        ("皮苗和水光针组合", "水光针和皮秒"),
        ("阿斯匹林淤青", "阿司匹林"),
        ("下颌线线调", "下颌线"),
        ("高血呀病史", "高血压病史"),
        ("玻尿酸填冲肿胀", "玻尿酸填充后轻微肿胀"),
        ("表面麻罪怕疼", "怕疼，希望使用表面麻醉"),
        ("喜欢自然郊果", "喜欢自然效果"),
    ] {
        let rank = rank_of(&records, query, wanted);
        assert!(rank <= 3, "{query}: the first record with it stands at {rank}");
    }
}

#[test]
fn a_misspelt_name_stands_among_the_first() {
    let records = records();
    for (query, wanted) in [("欧阳晓雁", "欧阳晓燕"), ("王小莉", "王小丽")] {
        if records.iter().any(|record| record.contains(wanted)) {
            let rank = rank_of(&records, query, wanted);
            assert!(rank <= 10, "{query}: {wanted} stands at {rank}");
        }
    }
}

#[test]
fn case_width_and_repetition_do_not_mislead() {
    assert_eq!(embed("BOTOX 100U"), embed("botox  100u"));
    let once = embed("玻尿酸");
    let often = embed("玻尿酸 玻尿酸 玻尿酸");
    let likeness: f32 = once.iter().zip(&often).map(|(one, other)| one * other).sum();
    assert!(likeness > 0.99, "{likeness}");
}

#[tokio::test]
async fn no_vector_is_zero_and_each_has_length_one() {
    let long = "长".repeat(70_000);
    let texts = ["", " ", "：", "，。！", "\u{0}", "😀", "a", "医", "𠮷野家", "C0001", long.as_str()];
    for (text, vector) in texts.iter().zip(NgramEmbedder.embed(&texts).await.unwrap()) {
        let length: f32 = vector.iter().map(|value| value * value).sum();
        assert_eq!(vector.len(), DIMENSIONS);
        assert!((length - 1.0).abs() < 1e-5, "{text:?} has length {length}");
    }
}

#[test]
fn the_same_text_gives_the_same_bits() {
    let text = records().concat();
    assert_eq!(embed(&text), embed(&text));
}
