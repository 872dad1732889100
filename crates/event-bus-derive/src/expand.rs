//! The `impl` that the attributes stand for.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Ident, Result};

use crate::attributes::{MessageAttributes, MessageKind};

pub(crate) fn message(input: &DeriveInput, attributes: &MessageAttributes) -> Result<TokenStream> {
    let message = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let name = &attributes.name;
    let kind = match attributes.kind {
        MessageKind::Event => quote!(::event_bus::Event),
        MessageKind::Command => quote!(::event_bus::Command),
        MessageKind::Query => quote!(::event_bus::Query),
    };
    let version = attributes
        .version
        .as_ref()
        .map(|version| quote!(const VERSION: u32 = #version;));
    let mandatory = attributes.mandatory.then(|| {
        quote!(
            const MUST_BE_HEARD: bool = true;
        )
    });
    let key = attributes.key.as_ref().map(|key| partition_key(input, key));
    let key = key.transpose()?;
    let upcast = attributes.upcast.as_ref().map(|upcast| {
        quote! {
            fn upcast(
                version: u32,
                body: ::event_bus::JsonValue,
            ) -> ::core::result::Result<::event_bus::JsonValue, ::event_bus::UpcastError> {
                #upcast(version, body)
            }
        }
    });
    let schema = attributes
        .schema
        .then(|| quote!(::event_bus::json_schema!();));
    Ok(quote! {
        impl #impl_generics ::event_bus::Message for #message #type_generics #where_clause {
            type Kind = #kind;
            const NAME: &'static str = #name;
            #version
            #mandatory
            #key
            #upcast
            #schema
        }
    })
}

/// The method that takes the key from a field.
fn partition_key(input: &DeriveInput, key: &Ident) -> Result<TokenStream> {
    let has_field = match &input.data {
        Data::Struct(data) => data
            .fields
            .iter()
            .any(|field| field.ident.as_ref() == Some(key)),
        Data::Enum(_) | Data::Union(_) => false,
    };
    if !has_field {
        let reason = format!("`{}` has no field `{key}`", input.ident);
        return Err(Error::new(key.span(), reason));
    }
    Ok(quote! {
        fn partition_key(&self) -> ::core::option::Option<::std::string::String> {
            ::core::option::Option::Some(::std::string::ToString::to_string(&self.#key))
        }
    })
}
