//! Languages as the API names them: ISO 639-1 and 639-3 codes of what the tokenizer knows.

use deserr::Deserr;
use milli_core as milli;
use milli_core::tokenizer::Language;
use milli_core::{AttributePatterns, LocalizedAttributesRule};
use serde::{Deserialize, Serialize};

/// Which attributes are written in which languages.
#[derive(Debug, Clone, PartialEq, Eq, Deserr, Serialize, Deserialize)]
#[deserr(rename_all = camelCase)]
#[serde(rename_all = "camelCase")]
pub struct LocalizedRule {
    pub attribute_patterns: AttributePatterns,
    pub locales: Vec<Locale>,
}

impl From<LocalizedAttributesRule> for LocalizedRule {
    fn from(rule: LocalizedAttributesRule) -> Self {
        let locales = rule.locales.into_iter().map(Locale::from).collect();
        LocalizedRule {
            attribute_patterns: rule.attribute_patterns,
            locales,
        }
    }
}

impl From<LocalizedRule> for LocalizedAttributesRule {
    fn from(rule: LocalizedRule) -> Self {
        let locales = rule
            .locales
            .into_iter()
            .map(milli::tokenizer::Language::from)
            .collect();
        LocalizedAttributesRule {
            attribute_patterns: rule.attribute_patterns,
            locales,
        }
    }
}

// Each language by its two-letter and its three-letter code. Mandarin has a three-letter code only.
macro_rules! locales {
    ($($short:ident $long:ident),* $(,)?) => {
        /// A language code as a client writes it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserr, Serialize, Deserialize)]
        #[deserr(rename_all = camelCase)]
        #[serde(rename_all = "camelCase")]
        pub enum Locale {
            $($short,)*
            $($long,)*
            Cmn,
        }

        impl From<Language> for Locale {
            fn from(language: Language) -> Locale {
                match language {
                    $(Language::$long => Locale::$long,)*
                    Language::Cmn => Locale::Cmn,
                }
            }
        }

        impl From<Locale> for Language {
            fn from(locale: Locale) -> Language {
                match locale {
                    $(Locale::$short | Locale::$long => Language::$long,)*
                    Locale::Cmn => Language::Cmn,
                }
            }
        }
    };
}

locales! {
    Af Afr, Ak Aka, Am Amh, Ar Ara, Az Aze, Be Bel, Bn Ben, Bg Bul,
    Ca Cat, Cs Ces, Da Dan, De Deu, El Ell, En Eng, Eo Epo, Et Est,
    Fi Fin, Fr Fra, Gu Guj, He Heb, Hi Hin, Hr Hrv, Hu Hun, Hy Hye,
    Id Ind, It Ita, Jv Jav, Ja Jpn, Kn Kan, Ka Kat, Km Khm, Ko Kor,
    La Lat, Lv Lav, Lt Lit, Ml Mal, Mr Mar, Mk Mkd, My Mya, Ne Nep,
    Nl Nld, Nb Nob, Or Ori, Pa Pan, Fa Pes, Pl Pol, Pt Por, Ro Ron,
    Ru Rus, Si Sin, Sk Slk, Sl Slv, Sn Sna, Es Spa, Sr Srp, Sv Swe,
    Ta Tam, Te Tel, Tl Tgl, Th Tha, Tk Tuk, Tr Tur, Uk Ukr, Ur Urd,
    Uz Uzb, Vi Vie, Yi Yid, Zh Zho, Zu Zul,
}
