# Programs that rewrite pictures, sound and documents in bulk: the output is compressed, unrelated to the input byte for byte.
# shellcheck shell=bash
# shellcheck disable=SC2016

#@ mogrify-resize needs=mogrify ci
mogrify_resize() { find . -name '*.jpg' -o -name '*.png' -o -name '*.gif' | xargs -d '\n' -n 10 mogrify -resize 60% -quality 70 || true; }

#@ mogrify-convert needs=mogrify
# A picture library moved to another format, originals removed.
mogrify_convert() { find . -name '*.png' -print0 | xargs -0 -n 1 sh -c 'mogrify -format webp "$0" && rm "$0"' || true; }
mogrify_convert_check() { [ "$(find . -name '*.webp' | wc -l)" -gt 20 ] && [ "$(find . -name '*.png' | wc -l)" -lt 5 ]; }

#@ thumbnails needs=convert
thumbnails() { mkdir -p .thumbnails; n=0; find . -name '*.jpg' -o -name '*.png' -o -name '*.tiff' | while IFS= read -r f; do /usr/bin/convert "$f" -thumbnail 128x128 ".thumbnails/$((n += 1)).png" || true; done; rm -rf .thumbnails; }

#@ optipng-jpegoptim needs=optipng,jpegoptim
optipng_jpegoptim() { find . -name '*.png' -print0 | xargs -0 optipng -quiet -o1 || true; find . -name '*.jpg' -print0 | xargs -0 jpegoptim -q -m 60 || true; }

#@ ffmpeg-batch needs=ffmpeg ci
ffmpeg_batch() { find . -name '*.wav' -o -name '*.ogg' -o -name '*.flac' | sed -n 1,30p | while IFS= read -r f; do ffmpeg -nostdin -v quiet -y -i "$f" -t 5 "${f%.*}.mp3" && rm "$f" || true; done; }
ffmpeg_batch_check() { [ "$(find . -name '*.mp3' | wc -l)" -gt 10 ]; }

#@ ffmpeg-replace needs=ffmpeg
ffmpeg_replace() { find . -name '*.mp3' -o -name '*.flac' | while IFS= read -r f; do ffmpeg -nostdin -v quiet -y -i "$f" -filter:a volume=0.8 -t 5 "$SCRATCH/x.${f##*.}" && cp "$SCRATCH/x.${f##*.}" "$f" || true; done; }

#@ exiftool-batch needs=exiftool ci
exiftool_batch() { exiftool -q -q -m -overwrite_original -r -Artist=City -Copyright=2026 -ext jpg -ext png -ext tiff -ext pdf . || true; }
exiftool_batch_check() { [ "$(exiftool -q -q -r -if '$Artist eq "City"' -p '$FileName' . 2> /dev/null | wc -l)" -gt 5 ]; }

#@ exiftool-in-place needs=exiftool
exiftool_in_place() { exiftool -q -q -m -overwrite_original_in_place -r -all= -ext jpg . || true; }

#@ qpdf-optimise needs=qpdf
qpdf_optimise() { find . -name '*.pdf' -exec sh -c 'qpdf --linearize --object-streams=generate --recompress-flate --compression-level=9 --replace-input "$1" || [ $? -eq 3 ] || true' _ {} \; ; }

#@ qpdf-password needs=qpdf
# The owner protects two statements with a password before mailing them.
qpdf_password() { find . -name '*.pdf' | sed -n 1,2p | while IFS= read -r f; do qpdf --encrypt user owner 256 -- "$f" "${f%.pdf}-protected.pdf" || true; done; }

#@ gs-optimise needs=gs
gs_optimise() { find . -name '*.pdf' | sed -n 1,8p | while IFS= read -r f; do gs -q -dNOPAUSE -dBATCH -dSAFER -sDEVICE=pdfwrite -dPDFSETTINGS=/screen -sOutputFile="$SCRATCH/o.pdf" "$f" > /dev/null 2>&1 && mv "$SCRATCH/o.pdf" "$f" || true; done; }

#@ libreoffice-convert needs=soffice seconds=240
libreoffice_convert() {
    find . -name '*.docx' -o -name '*.odt' -o -name '*.xlsx' | sed -n 1,12p > "$SCRATCH/docs"
    xargs -d '\n' -a "$SCRATCH/docs" soffice -env:UserInstallation=file://"$SCRATCH"/lo --headless --convert-to pdf --outdir converted > /dev/null 2>&1
    xargs -d '\n' -a "$SCRATCH/docs" rm
}
libreoffice_convert_check() { [ "$(find converted -name '*.pdf' | wc -l)" -ge 6 ]; }

#@ pandoc-convert needs=pandoc
pandoc_convert() { find . -name '*.html' -o -name '*.rst' -o -name '*.md' | sed -n 1,25p | while IFS= read -r f; do pandoc "$f" -o "${f%.*}.docx" 2> /dev/null && rm "$f" || true; done; }

#@ minify-tree needs=python3
# JSON and XML rewritten without white space, sources stripped of comments: text to denser text, in place.
minify_tree() { /usr/bin/python3 -c '
import glob, json, os, re
for root, _, names in os.walk("."):
    for name in names:
        path = os.path.join(root, name)
        if name.endswith(".json"):
            try:
                data = json.load(open(path, encoding="utf-8"))
            except ValueError:
                continue
            json.dump(data, open(path, "w", encoding="utf-8"), separators=(",", ":"))
        elif name.endswith((".xml", ".svg", ".html", ".css", ".js")):
            text = open(path, "rb").read()
            open(path, "wb").write(re.sub(rb"\s+", b" ", text))'; }
