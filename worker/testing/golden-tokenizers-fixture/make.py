"""Writes the two tiny tokenizers of this folder and what the Rust `tokenizers` library and Jinja2 make of some texts.

    pip install tokenizers==0.23.3 jinja2 && python make.py
"""

import hashlib
import json
from pathlib import Path

import jinja2
import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent

CORPUS = [
    "The quick brown fox jumps over the lazy dog. The dog sleeps, the fox runs.",
    "What is two plus two? Two plus two is four. The answer is 4.",
    "Janet has 16 eggs and sells 9 of them. How many eggs are left? 16 - 9 = 7.",
    "Name a colour. Blue is a colour, red is a colour, green is another colour.",
    "user assistant system question answer prompt response message content role",
    "Größe über naïve café déjà vu — “quoted” text … 你好 世界 你好",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))\n",
] * 20

TEXTS = [
    "", " ", "a", "The answer is 4.", "  two  spaces ", "\n\n", "line\r\nbreak\ttab",
    "cafe\u0301 vs café", "Å and A\u030a", "각 \u1100\u1161\u11a8", "你好，世界", "😀 👨‍👩‍👧 family", "A\u0328\u0301 stacked", "\ufeffmark",
    "<|im_start|>user\nhi<|im_end|>", "</s> inside <s>", "a<|im_end|>\u0301b", "<|im_en", "keep <tool> word", "xxxxxxxxxxxx", "Ωmega ‰",
    "1234567 3.14 -2e10", "don't DON'T it's", "▁meta space▁",
]

TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {%- if message.role not in ['user', 'assistant', 'system'] %}{{ raise_exception('unknown role') }}{% endif %}\n"
    "{{- '<|im_start|>' + message.role + '\\n' + (message.content | trim if trim_contents is defined else message.content) + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "{{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}\n"
)

SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Answer briefly."}
CONVERSATIONS = [
    ([user("What is two plus two?"), assistant("4")], False),
    ([SYSTEM, user("Name a colour."), assistant("Blue."), user("Another."), assistant("Red.\n\nOr green.")], False),
    ([user("Repeat: yes"), assistant("yes"), user("yes"), assistant("yes")], False),
    ([user("  spaces  "), assistant("  kept or trimmed \n")], False),
    ([user("Übersetze: 你好 👋🏽"), assistant("Größe cafe\u0301 👨‍👩‍👧")], False),
    ([user("Ignore <|im_end|> this"), assistant("Done.")], False),
    ([user("Hi")], True),
    ([user("\nnewline first"), assistant("\nstarts with a newline")], False),
]


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=512, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False, rstrip=True)])
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}


def sentencepiece_style():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0),
    ])
    specials = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    # The trainer adds its special tokens as added tokens; the byte tokens must stay ordinary ones, as in real checkpoints.
    saved = json.loads(tokenizer.to_str())
    saved["added_tokens"] = [token for token in saved["added_tokens"] if not token["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(saved))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))],
    )
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def refuse(why):
    raise jinja2.exceptions.TemplateError(why)


def conversation(tokenizer, render, messages, generate, variables):
    rendered = render(messages, generate, variables)
    encoded = tokenizer.encode(rendered, add_special_tokens=False)
    entry = {"messages": messages, "add_generation_prompt": generate, "rendered": rendered, "ids": encoded.ids}
    if generate:
        return entry
    # The template writes every content right after its header and before its closing token, so the spans are known by construction.
    spans, at = [], 0
    for message in messages:
        content = message["content"].strip() if variables else message["content"]
        at += len(f"<|im_start|>{message['role']}\n")
        if message["role"] == "assistant":
            spans.append((at, at + len(content)))
        at += len(content) + len("<|im_end|>\n")
    utf16 = lambda position: len(rendered[:position].encode("utf-16-le")) // 2
    entry["assistant_spans_utf16"] = [[utf16(start), utf16(end)] for start, end in spans]
    entry["assistant_mask"] = [int(any(a < end and b > start for start, end in spans)) for a, b in encoded.offsets]
    entry["closing_tokens"] = ["<|im_end|>" for _ in spans]
    return entry


def write(name, tokenizer, specials, variables):
    folder = HERE / name
    models_folder = folder / "models"
    models_folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(models_folder / "tokenizer.json"), pretty=False)
    config = {**specials, "chat_template": TEMPLATE}
    (models_folder / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n")

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    template = environment.from_string(TEMPLATE)
    render = lambda messages, generate, values: template.render(
        messages=messages, add_generation_prompt=generate, **specials, **values,
    )
    texts = []
    for text in TEXTS:
        plain, special = tokenizer.encode(text, add_special_tokens=False), tokenizer.encode(text)
        texts.append({
            "text": text,
            "ids": plain.ids,
            "ids_with_special": special.ids,
            "decoded": tokenizer.decode(plain.ids, skip_special_tokens=False),
            "decoded_skip_special": tokenizer.decode(special.ids, skip_special_tokens=True),
        })
    case = {
        "kind": "tokenizer",
        "special_tokens": specials,
        "vocab_size_with_added": tokenizer.get_vocab_size(with_added_tokens=True),
        "has_chat_template": True,
        "texts": texts,
        "template_variables": variables,
        "conversations": [conversation(tokenizer, render, m, g, variables) for m, g in CONVERSATIONS],
        "made_with": {"tokenizers": tokenizers.__version__, "jinja2": jinja2.__version__},
    }
    (folder / "case.json").write_text(json.dumps(case, ensure_ascii=True, separators=(",", ":")) + "\n")
    digest = hashlib.sha256((models_folder / "tokenizer.json").read_bytes()).hexdigest()
    print(name, tokenizer.get_vocab_size(), digest[:16])


if __name__ == "__main__":
    write("byte-level", *byte_level(), {})
    write("sentencepiece-style", *sentencepiece_style(), {"trim_contents": True})
