# kiln's own image: the static binary and nothing else. `dist/` is filled by the first command of README.md.
FROM scratch
COPY dist/bin/kiln /usr/bin/kiln
# Shows that the binary runs without a libc, a shell or any other file beside it.
RUN ["/usr/bin/kiln", "--version"]
ENTRYPOINT ["/usr/bin/kiln"]
