//! The recognisers, one file each. A new one is a file and a line in [`LIST`].

mod age_key;
mod anthropic_key;
mod at_social_security;
mod au_tfn;
mod aws_access_key_id;
mod aws_secret_key;
mod azure_client_secret;
mod azure_sas_token;
mod azure_storage_key;
mod basic_auth_url;
mod be_national_number;
mod bg_personal_number;
mod bic;
mod br_cpf;
mod ca_sin;
mod card;
mod ch_ahv;
mod cn_resident_id;
mod cz_birth_number;
mod databricks_token;
mod de_social_security;
mod de_tax_id;
mod digitalocean_token;
mod discord_token;
mod dk_cpr;
mod docker_token;
mod ee_lt_personal_code;
mod email;
mod es_dni;
mod es_nie;
mod fi_personal_code;
mod figma_token;
mod fr_nir;
mod gb_nhs;
mod gb_nino;
mod github_token;
mod gitlab_token;
mod google_api_key;
mod google_oauth_secret;
mod gr_amka;
mod grafana_token;
mod hr_oib;
mod hu_tax_id;
mod huggingface_token;
mod iban;
mod ie_pps;
mod in_aadhaar;
mod ipv4_address;
pub(crate) mod ipv6_address;
mod it_codice_fiscale;
mod jmbg;
mod json_web_token;
mod kr_resident_number;
mod linear_key;
mod lv_personal_code;
mod mac_address;
mod mailgun_key;
mod mx_curp;
mod new_relic_key;
mod nl_bsn;
mod no_birth_number;
mod notion_token;
mod npm_token;
mod openai_key;
pub(crate) mod phone;
mod pl_pesel;
mod postman_key;
mod private_key;
mod pt_nif;
mod pypi_token;
mod ro_cnp;
mod se_personal_number;
mod sendgrid_key;
mod sg_nric;
mod shopify_token;
mod slack_token;
mod slack_webhook;
mod square_token;
mod stripe_key;
mod telegram_bot_token;
mod terraform_token;
mod tr_identity_number;
mod twilio_key;
mod us_itin;
mod us_ssn;
mod vault_token;
mod za_id;

use crate::recogniser::Recogniser;

/// Every recogniser, the e-mail address first. All that fit the same text find it, in this order; of secrets that begin at the same
/// place the first alone does.
pub(crate) static LIST: &[&Recogniser] = &[
    &email::RECOGNISER,
    &ipv4_address::RECOGNISER,
    &ipv6_address::RECOGNISER,
    &mac_address::RECOGNISER,
    &iban::RECOGNISER,
    &card::RECOGNISER,
    &bic::RECOGNISER,
    &anthropic_key::RECOGNISER,
    &age_key::RECOGNISER,
    &aws_access_key_id::RECOGNISER,
    &aws_secret_key::RECOGNISER,
    &azure_client_secret::RECOGNISER,
    &azure_sas_token::RECOGNISER,
    &azure_storage_key::RECOGNISER,
    &basic_auth_url::RECOGNISER,
    &databricks_token::RECOGNISER,
    &digitalocean_token::RECOGNISER,
    &discord_token::RECOGNISER,
    &docker_token::RECOGNISER,
    &figma_token::RECOGNISER,
    &github_token::RECOGNISER,
    &gitlab_token::RECOGNISER,
    &google_api_key::RECOGNISER,
    &google_oauth_secret::RECOGNISER,
    &grafana_token::RECOGNISER,
    &huggingface_token::RECOGNISER,
    &json_web_token::RECOGNISER,
    &linear_key::RECOGNISER,
    &mailgun_key::RECOGNISER,
    &new_relic_key::RECOGNISER,
    &notion_token::RECOGNISER,
    &npm_token::RECOGNISER,
    &openai_key::RECOGNISER,
    &postman_key::RECOGNISER,
    &private_key::RECOGNISER,
    &pypi_token::RECOGNISER,
    &sendgrid_key::RECOGNISER,
    &shopify_token::RECOGNISER,
    &slack_token::RECOGNISER,
    &slack_webhook::RECOGNISER,
    &square_token::RECOGNISER,
    &stripe_key::RECOGNISER,
    &telegram_bot_token::RECOGNISER,
    &terraform_token::RECOGNISER,
    &twilio_key::RECOGNISER,
    &vault_token::RECOGNISER,
    &at_social_security::RECOGNISER,
    &au_tfn::RECOGNISER,
    &be_national_number::RECOGNISER,
    &bg_personal_number::RECOGNISER,
    &br_cpf::RECOGNISER,
    &ca_sin::RECOGNISER,
    &ch_ahv::RECOGNISER,
    &cn_resident_id::RECOGNISER,
    &cz_birth_number::RECOGNISER,
    &de_social_security::RECOGNISER,
    &de_tax_id::RECOGNISER,
    &dk_cpr::RECOGNISER,
    &ee_lt_personal_code::RECOGNISER,
    &es_dni::RECOGNISER,
    &es_nie::RECOGNISER,
    &fi_personal_code::RECOGNISER,
    &fr_nir::RECOGNISER,
    &gb_nhs::RECOGNISER,
    &gb_nino::RECOGNISER,
    &gr_amka::RECOGNISER,
    &hr_oib::RECOGNISER,
    &hu_tax_id::RECOGNISER,
    &ie_pps::RECOGNISER,
    &in_aadhaar::RECOGNISER,
    &it_codice_fiscale::RECOGNISER,
    &jmbg::RECOGNISER,
    &kr_resident_number::RECOGNISER,
    &lv_personal_code::RECOGNISER,
    &mx_curp::RECOGNISER,
    &nl_bsn::RECOGNISER,
    &no_birth_number::RECOGNISER,
    &pl_pesel::RECOGNISER,
    &pt_nif::RECOGNISER,
    &ro_cnp::RECOGNISER,
    &se_personal_number::RECOGNISER,
    &sg_nric::RECOGNISER,
    &tr_identity_number::RECOGNISER,
    &us_itin::RECOGNISER,
    &us_ssn::RECOGNISER,
    &za_id::RECOGNISER,
    &phone::RECOGNISER,
];
