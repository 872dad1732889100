create table notes (
    id uuid primary key,
    title text not null constraint notes_title_key unique,
    version bigint not null default 1
);
