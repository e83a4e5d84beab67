/* Microform on the checkout page: create the fields, and post the transient token instead of the card. */

const form = document.querySelector("#checkout");
const button = form.querySelector("button");
const problem = document.querySelector("#error");

const flex = new Flex(form.dataset.context);
const microform = flex.microform("card", { styles: { input: { "font-size": "16px" } } });
const number = microform.createField("number", { placeholder: "1234 1234 1234 1234" });
const securityCode = microform.createField("securityCode", { placeholder: "123" });
securityCode.on("load", () => {
  button.disabled = false;
});
number.load("#number-container");
securityCode.load("#code-container");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  button.disabled = true;
  problem.textContent = "";
  const options = { expirationMonth: form.month.value, expirationYear: form.year.value };
  microform.createToken(options, (error, token) => {
    if (error) {
      problem.textContent =
        error.reason === "CREATE_TOKEN_VALIDATION_FIELDS" ? "Please check the card." : `The card was not accepted: ${error.message}`;
      button.disabled = false;
      return;
    }
    form.token.value = token;
    form.submit();
  });
});
