//! What the text of one module declares and names.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a parser may come to know more items than matter here"
)]

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, File, ImplItem, Item, Macro, Meta, UseTree, Visibility};

/// The declarations of one module, without what only tests see.
#[derive(Debug, Default)]
pub(crate) struct Declarations {
    /// `mod name;`, each in a file of its own.
    pub(crate) files: Vec<String>,
    /// `mod name { .. }`
    pub(crate) inline: Vec<(String, Self)>,
    /// Names of types, functions, constants, traits and macros.
    pub(crate) defined: BTreeSet<String>,
    /// Macros that are reached from the root of the crate.
    pub(crate) exported_macros: BTreeSet<String>,
    pub(crate) uses: Vec<Use>,
    /// Every path of two segments or more.
    pub(crate) paths: BTreeSet<Vec<String>>,
    /// There is something else than modules and re-exports.
    pub(crate) has_code: bool,
}

/// One leaf of a `use`.
#[derive(Debug)]
pub(crate) struct Use {
    pub(crate) path: Vec<String>,
    /// The name that it has here; `None` takes all names of the module.
    pub(crate) name: Option<String>,
}

impl Declarations {
    pub(crate) fn of(file: &File) -> Self {
        let mut declarations = Self::default();
        declarations.visit_file(file);
        declarations
    }

    fn read_item(&mut self, item: &Item) {
        match item {
            Item::Mod(module) => {
                let name = module.ident.to_string();
                let Some((_, items)) = &module.content else {
                    return self.files.push(name);
                };
                self.has_code = true;
                let mut inner = Self::default();
                for item in items {
                    inner.visit_item(item);
                }
                self.inline.push((name, inner));
            }
            Item::Use(item) => {
                self.has_code |= matches!(item.vis, Visibility::Inherited);
                self.read_use(Vec::new(), &item.tree);
            }
            _ => {
                self.has_code = true;
                self.define(item);
                visit::visit_item(self, item);
            }
        }
    }

    fn read_use(&mut self, mut path: Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.to_string());
                self.read_use(path, &next.tree);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.read_use(path.clone(), tree);
                }
            }
            UseTree::Glob(_) => self.uses.push(Use { path, name: None }),
            UseTree::Name(leaf) => {
                let name = leaf.ident.to_string();
                self.read_leaf(path, name.clone(), name);
            }
            UseTree::Rename(leaf) => {
                self.read_leaf(path, leaf.ident.to_string(), leaf.rename.to_string());
            }
        }
    }

    fn read_leaf(&mut self, mut path: Vec<String>, name: String, alias: String) {
        if name != "self" {
            path.push(name);
            let name = Some(alias);
            return self.uses.push(Use { path, name });
        }
        let name = if alias == "self" {
            path.last().cloned()
        } else {
            Some(alias)
        };
        self.uses.push(Use { path, name });
    }

    fn define(&mut self, item: &Item) {
        let ident = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::TraitAlias(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            Item::Macro(item) => {
                let Some(ident) = &item.ident else {
                    return self.define_all_in(&item.mac);
                };
                if has_attribute(&item.attrs, "macro_export") {
                    self.exported_macros.insert(ident.to_string());
                }
                ident
            }
            _ => return,
        };
        self.defined.insert(ident.to_string());
    }

    /// What a macro is given may be items, such as an enum, which it then declares.
    fn define_all_in(&mut self, called: &Macro) {
        if let Ok(given) = called.parse_body::<File>() {
            for item in &given.items {
                self.define(item);
            }
        }
    }

    /// Paths in tokens that are no syntax tree: the inside of a macro or of an attribute.
    fn read_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 => path.push(ident.to_string()),
                TokenTree::Ident(ident) => {
                    self.read_path(std::mem::take(&mut path));
                    path.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Group(group) => {
                    self.read_path(std::mem::take(&mut path));
                    self.read_tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.read_path(std::mem::take(&mut path));
                }
            }
            colons = 0;
        }
        self.read_path(path);
    }

    fn read_path(&mut self, path: Vec<String>) {
        if path.len() > 1 {
            self.paths.insert(path);
        }
    }
}

impl Visit<'_> for Declarations {
    fn visit_item(&mut self, item: &Item) {
        if !is_for_tests(attributes(item)) {
            self.read_item(item);
        }
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        if let ImplItem::Fn(method) = item
            && is_for_tests(&method.attrs)
        {
            return;
        }
        visit::visit_impl_item(self, item);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string());
        self.read_path(segments.collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        visit::visit_macro(self, call);
        self.read_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.read_tokens(list.tokens.clone());
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, or a `cfg` that tests are one reason for.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else {
            return false;
        };
        let words = words(list.tokens.clone());
        list.path.is_ident("cfg")
            && words.iter().any(|word| word == "test")
            && !words.iter().any(|word| word == "not")
    })
}

fn words(tokens: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => words.push(ident.to_string()),
            TokenTree::Group(group) => words.extend(self::words(group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    words
}

fn has_attribute(attributes: &[Attribute], name: &str) -> bool {
    attributes
        .iter()
        .any(|attribute| attribute.path().is_ident(name))
}
