# The command line on an NVIDIA GPU. The wheel of torch for Linux brings CUDA along, so the image
# needs no CUDA of its own: the host has the driver and NVIDIA's container toolkit.
#
#     docker build --tag erasure .
#     docker run --rm --gpus all --volume "$PWD:/work" erasure \
#       erase MODEL --concept church --device cuda --out out/church
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 erasure
COPY --chown=erasure . /tmp/source
RUN pip install --no-cache-dir "/tmp/source[metrics,imagenet,data]" && rm -rf /tmp/source

USER erasure
WORKDIR /work
ENV HF_HOME=/work/.cache/huggingface
ENTRYPOINT ["erasure"]
CMD ["--help"]
