// Passkeys: the browser asks an authenticator, and what it gave is put into the form it was asked for. Nothing is sent by itself.
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const bytes = (words) => Uint8Array.from(atob(words.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
const hex = (digits) => Uint8Array.from(digits.match(/../g), (pair) => parseInt(pair, 16));

function tell(form, why) {
  const place = form.querySelector("[data-passkey-told]");
  place.textContent = why;
  place.hidden = !why;
}

// What went wrong is the browser's or the person's own: the authenticator said no, or nobody touched it in time.
async function asked(form, ask) {
  tell(form, "");
  try {
    return await ask();
  } catch (error) {
    tell(form, error.name === "InvalidStateError" ? "This authenticator holds a passkey of yours already." : `No passkey was used: ${error.message}`);
    return null;
  }
}

async function make(form) {
  const options = JSON.parse(form.dataset.passkeyMake);
  options.challenge = bytes(options.challenge);
  options.user.id = bytes(options.user.id);
  for (const each of options.excludeCredentials ?? []) each.id = bytes(each.id);
  const made = await asked(form, () => navigator.credentials.create({ publicKey: options }));
  if (!made) return;
  form.elements.passkey.value = JSON.stringify({
    id: made.id, client_data: text(made.response.clientDataJSON), attestation: text(made.response.attestationObject),
  });
  form.requestSubmit();
}

async function sign(form, keys) {
  const password = form.elements.password;
  password.required = false;
  const complete = form.reportValidity();
  password.required = true;
  if (!complete) return;
  const publicKey = {
    challenge: hex(form.elements.binding.value), rpId: keys.dataset.passkeyFor, userVerification: "required",
    allowCredentials: keys.dataset.passkeys.split(" ").map((id) => ({ type: "public-key", id: bytes(id) })),
  };
  const given = await asked(form, () => navigator.credentials.get({ publicKey }));
  if (!given) return;
  form.elements.passkey.value = JSON.stringify({
    id: given.id, authenticator_data: text(given.response.authenticatorData), client_data: text(given.response.clientDataJSON),
    signature: text(given.response.signature),
  });
  password.required = false;
  form.requestSubmit();
}

// Browsers know passkeys in secure contexts alone, and only under the name they were made for.
const usable = (part) => Boolean(window.PublicKeyCredential) && location.origin === part.dataset.passkeyAt;
for (const form of document.querySelectorAll("[data-passkey-make]")) {
  const button = form.querySelector("button");
  button.addEventListener("click", () => make(form));
  // Until this line nobody listens, so the page came with the button disabled.
  button.disabled = !usable(form);
  if (button.disabled) tell(form, `This browser makes passkeys at ${form.dataset.passkeyAt} only: open the page there.`);
}
for (const keys of document.querySelectorAll("[data-passkeys]")) {
  keys.hidden = !usable(keys);
  keys.querySelector("button").addEventListener("click", () => sign(keys.closest("form"), keys));
}

// A page that the browser kept signs nothing with what was given for it before.
addEventListener("pageshow", () => {
  for (const field of document.querySelectorAll("[data-passkeys] input, [data-passkey-make] input[name=passkey]")) field.value = "";
});
